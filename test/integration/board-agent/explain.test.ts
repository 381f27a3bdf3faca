/** The command as a person runs it, offline. The examples of docs/gateway.md are executed below. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ProgramResult, runProgram } from '../../harness/run-program.ts';
import { repositoryRoot } from '../../harness/tools.ts';

const program = join(repositoryRoot, 'board-agent/main.ts');
const docs = readFileSync(join(repositoryRoot, 'docs/gateway.md'), 'utf8');
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'boardwalk-explain-'));
});

afterAll(() => rmSync(dir, { recursive: true }));

const explain = (...args: string[]): Promise<ProgramResult> =>
  runProgram(process.execPath, [program, 'explain', '--state', dir, ...args]);

describe('boardwalk-agent explain', () => {
  beforeAll(() => {
    const rules = [
      { match: '/{module}/status', decoder: 'status-list' },
      { match: 'r', decoder: 'json', units: { temp: 'Cel' } },
    ];
    const other = [{ match: '#', decoder: 'json', module: 'rest' }];
    const sources = [
      { kind: 'http', name: 'field', rules },
      { kind: 'http', name: 'other', port: 0, rules: other },
    ];
    writeFileSync(join(dir, 'settings.json'), JSON.stringify({ sources }));
  });

  it('shows the rule, the captures and the readings', async () => {
    const { code, stdout } = await explain(
      '--topic',
      '/hv/status',
      '--payload',
      '[{"number":0,"on":1,"vreq":100}]',
    );
    expect(stdout.replaceAll(/\d{4}-\S+Z/g, '<time>')).toBe(
      [
        'source       field (http)',
        'rule         0: /{module}/status → status-list',
        'captures     module=hv',
        'device       hv',
        'readings     2',
        '  hv/ch0.on    true    boolean  <time>',
        '  hv/ch0.vreq  100     number   <time>',
        'note         rules of other fit as well: choose with --source',
        '',
      ].join('\n'),
    );
    expect(code).toBe(0);
  });

  it('answers in JSON', async () => {
    const payload = '{"device":"n1","seq":5,"time":"2026-11-28T10:00:00Z","data":{"temp":21.5}}';
    const { code, stdout } = await explain(
      '--topic',
      'r',
      '--payload',
      payload,
      '--json',
      '--source',
      'field',
    );
    expect(JSON.parse(stdout)).toEqual({
      source: 'field',
      kind: 'http',
      rule: { index: 1, match: 'r', decoder: 'json' },
      captures: {},
      device: 'n1',
      seq: 5,
      readings: [
        { stream: 'n1/temp', type: 'number', value: 21.5, unit: 'Cel', at: '2026-11-28T10:00:00.000Z' },
      ],
    });
    expect(code).toBe(0);
  });

  it('lets no message steer the terminal', async () => {
    const esc = '\u001b';
    const { stdout } = await explain('--topic', `x/${esc}[2J\u009b1m`, '--payload', '1', '--source', 'field');
    expect(stdout).toContain("no rule fits 'x/\\u001b[2J\\u009b1m'");
    const payload = '{"device":"n1","data":{"a":"\\u009b2J"}}';
    const inJson = await explain('--topic', 'r', '--payload', payload, '--json', '--source', 'field');
    expect(inJson.stdout).not.toContain('\u009b');
    expect(JSON.parse(inJson.stdout).readings).toMatchObject([{ value: '\u009b2J' }]);
  });

  it('says why there are none, with exit code 1', async () => {
    const unmatched = await explain('--topic', 'x/y', '--payload', '1', '--source', 'field');
    expect(unmatched.stdout).toContain("unmatched    no rule fits 'x/y'; there are: /{module}/status  r");
    expect(unmatched.code).toBe(1);
    const undecodable = await explain('--topic', '/hv/status', '--payload-hex', 'ff 00');
    expect(undecodable.stdout).toContain('status-list: the payload is not UTF-8 text');
    expect(undecodable.code).toBe(1);
  });

  it.each([
    [['--topic', 'r'], 'give one of --payload, --payload-file and --payload-hex'],
    [['--topic', 'r', '--payload-hex', 'f'], 'pairs of hexadecimal digits'],
    [['--topic', 'r', '--payload', '1', '--field', 'x=1'], '--field must be device='],
    [
      ['--topic', 'r', '--payload', '1', '--source', 'x'],
      "no source with rules is called 'x'; there are: field, other",
    ],
    [['--topic', 'r', '--payload', '1', '--settings', '/nowhere.json'], 'ENOENT'],
  ])('refuses %j', async (args, reason) => {
    const { code, stderr } = await explain(...args);
    expect(stderr).toContain(reason);
    expect(code).toBe(1);
  });
});

describe('docs/gateway.md', () => {
  const section = /## Rules and decoders\n([\s\S]*?)\n## /.exec(docs)?.[1] ?? '';
  const [settings = '', decoder = ''] = [...section.matchAll(/```(?:yaml|js)\n([\s\S]*?)```/g)].map(
    (each) => each[1] ?? '',
  );
  const examples = [
    ...section.matchAll(/\$ boardwalk-agent (explain (?:.*\\\n)*.*)\n([^$]*?)(?=\n\$|\n```)/g),
  ];

  beforeAll(() => {
    writeFileSync(join(dir, 'gateway.yaml'), settings);
    writeFileSync(join(dir, 'frame.mjs'), decoder);
  });

  it('has an example for each decoder', () => {
    expect(examples.length).toBeGreaterThanOrEqual(9);
  });

  it.each(examples.map((each) => [each[1] ?? '', each[2] ?? '']))(
    'shows what happens: %s',
    async (command, output) => {
      const { stdout, stderr } = await runProgram(
        'sh',
        ['-c', `cd ${dir} && node ${program} ${command.replaceAll('\\\n', ' ')}`],
        {
          env: { BOARDWALK_AGENT_STATE: dir, PATH: `${join(process.execPath, '..')}:${process.env.PATH}` },
        },
      );
      const times = (text: string) => text.replaceAll(/ +\d{4}-\d\d-\d\dT\S+Z/g, '').trim();
      expect(times(stdout + stderr).replaceAll(`${dir}/`, '/etc/boardwalk/')).toBe(times(output));
    },
  );
});
