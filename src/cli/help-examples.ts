/** Examples of the commands that have none beside their flags: added to each by its path. */
import type { Command } from "commander";
import { addExamples, type Example } from "./examples.ts";

const HELP_EXAMPLES: Readonly<Record<string, readonly Example[]>> = {
  up: [
    ["vgas up", "a swarm on this machine, in the foreground"],
    ["vgas up --module agents.ts --slots 4", "with agents of your own"],
    ["vgas up --lan", "let machines of the network join"],
    ["vgas up --nats nats://nats:4222 --nats-seed up.nk", "on a NATS system that exists"],
  ],
  run: [
    ["vgas run tasks.jsonl > results.jsonl", 'lines such as {"kind":"echo","input":1}'],
    ["vgas run tasks.jsonl --module agents.ts", "where no swarm runs: with these agents"],
    ["vgas run - --kind echo", "lines from stdin that name no kind"],
  ],
  submit: [
    [`vgas submit echo '{"hello":1}' --wait`, "prints the result"],
    ["vgas submit report - --id report-7", "the input from stdin, an id of your own"],
    ["vgas submit resize 1 --priority low --delay 10m", "later, and after the others"],
    ["vgas submit chat 1 --now --wait --events", "only if an agent is free; shows what it says"],
  ],
  results: [
    ["vgas results s1042", "the result of one task"],
    ["vgas results s1042 --follow --timeout 1m", "waits for it"],
    ["vgas results --follow --json", "all of the pool, then those to come"],
  ],
  status: [
    ["vgas status", "health, lanes, what waits"],
    ["vgas status --json", "for scripts: read health"],
  ],
  nodes: [
    ["vgas nodes", "every node, and who waits to be let in"],
    ["vgas nodes --json", "one object a line"],
  ],
  fairness: [
    ["vgas fairness", "turns of each agent, by lane"],
    ["vgas fairness --json", "one object a lane"],
  ],
  token: [
    ["vgas token create > token", "the line that lets one node in"],
    ["vgas token list", "what was given out, and who used it"],
    ["vgas token revoke tk7m", "ends one"],
  ],
  "token list": [["vgas token list --json", "one object a line"]],
  "token revoke": [["vgas token revoke tk7m", "its id, not its line"]],
  revoke: [["vgas revoke n3k5m7abcd", "cut a node off for good"]],
  connection: [
    ["vgas connection > connection.json", "for a client on this machine"],
    ["vgas connection --inline --role observer", "with the seed in it, for another machine"],
    ["vgas connection --role worker --inline", "for one more node"],
  ],
  "vault init": [
    ["vgas vault init", "asks for a passphrase"],
    ["vgas vault init --passphrase-file passphrase", "reads it from a file"],
  ],
  "vault unseal": [
    ["vgas vault unseal", "asks for the passphrase"],
    ["vgas vault unseal --passphrase-file passphrase", "reads it from a file"],
  ],
  "vault seal": [["vgas vault seal", "no key is given out until it is unsealed"]],
  "vault status": [["vgas vault status --json", "for scripts"]],
  "vault store": [
    ["vgas vault store openai < key.txt", "a key from standard input"],
    ["vgas vault store openai --update --budget cost=20/day", "other terms for the key that is there"],
  ],
  "vault list": [["vgas vault list", "every key, and how it does"]],
  "vault show": [["vgas vault show openai", "the terms and versions of a key"]],
  "vault rotate": [["vgas vault rotate openai < new-key.txt", "a new version of a key"]],
  "vault delete": [["vgas vault delete openai", "asks first"]],
  "vault rekey": [["vgas vault rekey", "asks for the old passphrase and a new one"]],
  "vault usage": [["vgas vault usage --by provider,kind", "calls, tokens and cost"]],
  "vault audit": [
    ["vgas vault audit list", "who did what"],
    ["vgas vault audit verify", "whether the trail is whole"],
  ],
  "vault audit list": [["vgas vault audit list --json", "one record a line"]],
  "vault audit verify": [["vgas vault audit verify", "recomputes the whole trail"]],
  doctor: [
    ["vgas doctor", "the machine, the home and the swarm"],
    ["vgas doctor --nats nats://nats:4222", "a NATS system that exists"],
  ],
  permissions: [
    ["vgas permissions --role worker --seed worker.nk", "for a node; makes its key"],
    ["vgas permissions --role client --seed client.nk", "for those who submit"],
  ],
};

/** Adds them to the help of all commands below `program`. */
export function addHelpExamples(program: Command): void {
  for (const [path, examples] of Object.entries(HELP_EXAMPLES)) {
    let command: Command | undefined = program;
    for (const name of path.split(" ")) command = command?.commands.find((each) => each.name() === name);
    if (command !== undefined) addExamples(command, examples);
  }
}
