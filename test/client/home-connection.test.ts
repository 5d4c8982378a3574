import { readdir } from "node:fs/promises";
import { expect, test } from "vitest";
import { connectionOfHome } from "../../src/client/home-connection.ts";
import { connectAs, startBroker, temporaryDirectory, temporaryHome } from "../support/home.ts";
import { rejection } from "../support/wait.ts";

test("tells the address, the prefix and the role's credential of a home whose broker runs", async () => {
  const home = await temporaryHome("own");
  const { url } = await startBroker(home);
  for (const role of ["client", "observer", "admin"] as const) {
    const found = await connectionOfHome(home.dir, role);
    expect(found).toMatchObject({
      url,
      prefix: "own",
      credential: { user: role, role, inboxPrefix: `_INBOX.${role}` },
    });
    await connectAs(found.url, found.credential);
  }
});

test("says that no swarm runs on a home whose broker has stopped, on an empty one, and on none, and makes nothing", async () => {
  const home = await temporaryHome();
  const server = await startBroker(home);
  await server.stop();
  const empty = await temporaryDirectory();
  for (const dir of [home.dir, empty, `${empty}/none`]) {
    expect(await rejection(connectionOfHome(dir))).toMatchObject({
      code: "NO_SWARM",
      message: expect.stringContaining(dir),
    });
  }
  expect(await readdir(empty)).toEqual([]);
});
