// flagd's own evaluation of a file of flags: `node evaluate.mjs FLAG FILE CONTEXT` prints the variant that each of
// two thousand users is served, a line each; the last line is who has no key.
import { readFileSync } from 'node:fs';
import { FlagdCore } from '@openfeature/flagd-core';

const [flag, file, context] = process.argv.slice(2);
const core = new FlagdCore();
core.setConfigurations(readFileSync(file, 'utf8'));
const logger = { error() {}, warn() {}, info() {}, debug() {} };
const served = (who) => {
  const { variant, reason, errorCode } =
    core.resolveBooleanEvaluation(flag, false, { ...JSON.parse(context), ...who }, logger);
  return variant ?? `${reason} ${errorCode}`;
};
for (let user = 0; user < 2000; user += 1) {
  console.log(served({ targetingKey: `user-${user}` }));
}
console.log(served({}));
