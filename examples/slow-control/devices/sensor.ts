/** The dummy sensor with two measurements; it takes no commands. */
import { Refusal } from './power-supply.ts';
import { runDevice } from './run-device.ts';

let seconds = 0;

runDevice({
  name: 'sensor',
  step(passed: number) {
    seconds += passed;
  },
  command(command: string) {
    throw new Refusal('unknown-command', `a sensor takes no commands, not '${command}' either`);
  },
  status() {
    const meas1 = Math.sin(seconds / 5);
    return { meas1, meas2: Math.abs(meas1) };
  },
});
