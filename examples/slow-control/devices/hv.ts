/** The dummy high-voltage module: 4 channels up to 1,000 V, 50 V a second. */
import { createPowerSupply } from './power-supply.ts';
import { runDevice } from './run-device.ts';

runDevice({ name: 'hv', ...createPowerSupply({ channels: 4, maxVolts: 1000, rampVoltsPerSecond: 50 }) });
