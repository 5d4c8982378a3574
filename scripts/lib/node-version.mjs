/** Says what to do about a Node that is too old. Imported first, so that nothing else fails in a more puzzling way. */

const MINIMUM = { major: 20, minor: 19 };

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

if (major < MINIMUM.major || (major === MINIMUM.major && minor < MINIMUM.minor)) {
  process.stderr.write(
    `vgas needs Node ${MINIMUM.major}.${MINIMUM.minor} or newer; this is ${process.versions.node} (${process.execPath}).\n` +
      `Install a current one (https://nodejs.org, or "nvm install --lts") and try again.\n`,
  );
  process.exit(1);
}

export const nodeMajor = major;
