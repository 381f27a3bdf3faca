/**
 * `DATABASE_URL` names one schema on one or more servers, in order of preference:
 * `mysql://user:password@db1:3306,db2:3306/boardwalk?tls=1`. The first that works is used.
 */
export interface DatabaseNode {
  host: string;
  port: number;
}

export interface DatabaseAddress {
  nodes: DatabaseNode[];
  username: string;
  password: string;
  schema: string;
  /** TLS with verification against the system's roots (NODE_EXTRA_CA_CERTS adds own ones). */
  tls: boolean;
}

const pattern = /^(?:mysql|mariadb):\/\/([^:@/]+)(?::([^@/]*))?@([^/]+)\/([A-Za-z0-9_$-]+)(?:\?(.*))?$/;

/** Throws Error with a reason that does not repeat the URL, because it holds the password. */
export function parseDatabaseUrl(url: string): DatabaseAddress {
  const match = pattern.exec(url);
  if (!match) throw new Error('DATABASE_URL must look like mysql://user:password@host[:port][,host…]/schema');
  const [, username = '', password = '', hosts = '', schema = '', query = ''] = match;
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys()) {
    if (name !== 'tls') throw new Error(`DATABASE_URL has an unknown parameter '${name}'; known: tls`);
  }
  return {
    nodes: hosts.split(',').map(parseNode),
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    schema,
    tls: parameters.get('tls') === '1',
  };
}

function parseNode(text: string): DatabaseNode {
  const match = /^(\[[0-9a-f:]+\]|[^:]+)(?::(\d+))?$/i.exec(text);
  const port = Number(match?.[2] ?? 3306);
  if (!match?.[1] || port < 1 || port > 65_535)
    throw new Error('DATABASE_URL has a host that is not host or host:port');
  return { host: match[1].replace(/^\[|\]$/g, ''), port };
}
