/** `npm run demo:slow-control`, once the node modules are there: runs the demonstrator until Ctrl-C. */
import { join } from 'node:path';
import { shownPath } from './setup/progress.ts';
import { interlockThreshold } from './slow-control/boardwalk.ts';
import { boardName } from './slow-control/gateway.ts';
import { influxDatabase } from './slow-control/influxdb.ts';
import { readSlowControlSettings } from './slow-control/settings.ts';
import { type SlowControl, startSlowControl } from './slow-control/start.ts';
import { runUntilStopped } from './stack/run-until-stopped.ts';

await runUntilStopped(async (life) => {
  const startedAt = performance.now();
  const demo = await startSlowControl(readSlowControlSettings(process.env), life);
  welcome(demo, performance.now() - startedAt);
  return demo;
});

function welcome({ stack, nodeRed, influxUrl }: SlowControl, tookMs: number): void {
  const { admin, home } = stack;
  const path = (name: string) => shownPath(join(home, name));
  const call = (procedure: string, kwargs: string) =>
    `curl -sK ${path('curlrc')} --json '{"kwargs":${kwargs}}' ${admin.apiUrl}/v1/boards/${boardName}/rpc/${procedure}`;
  const publish = (topic: string, payload: string) =>
    `${path('bin/mosquitto_pub')} -t ${topic} -m '${payload}'`;
  console.log(`
  API       ${admin.apiUrl}   (reference: ${admin.apiUrl}/docs)   ${admin.username} / ${admin.password}
  Node-RED  ${nodeRed.url}   admin / ${nodeRed.password}
  InfluxDB  ${influxUrl}   database ${influxDatabase}, login in ${path('influx-curlrc')}

  Switch HV channel 0 on and set it to 100 V:
    over HTTP       ${call('hv.switch', '{"channel":0,"on":true}')}
                    ${call('hv.setv', '{"channel":0,"volts":100}')}
    at the devices  ${publish('/hv/cmd/switch/0', 'on')}
                    ${publish('/hv/cmd/setv/0', '100')}
    in Node-RED     the buttons "HV 0 on" and "HV 0 to 100 V" of the flow "Slow control"

  See what it does:
    at the devices  ${path('bin/mosquitto_sub')} -v -t '#'
    in InfluxDB     curl -sK ${path('influx-curlrc')} -G ${influxUrl}/query --data-urlencode db=${influxDatabase} --data-urlencode 'q=SELECT "ch0.on", "ch0.vreq", "ch0.vmeas" FROM hv ORDER BY time DESC LIMIT 5'

  Trip it (over ${interlockThreshold}, the interlock switches HV off):
                    ${publish('/sensor/status', '{"meas1":2,"meas2":2}')}

  Up in ${(tookMs / 1000).toFixed(1)} s. Ctrl-C stops everything.`);
  console.log(`Boardwalk is ready: ${admin.apiUrl}`);
}
