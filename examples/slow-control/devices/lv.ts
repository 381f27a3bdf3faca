/** The dummy low-voltage module: 4 channels up to 12 V, 5 V a second. */
import { createPowerSupply } from './power-supply.ts';
import { runDevice } from './run-device.ts';

runDevice({ name: 'lv', ...createPowerSupply({ channels: 4, maxVolts: 12, rampVoltsPerSecond: 5 }) });
