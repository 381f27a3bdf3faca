/** The list of resources at `.well-known/core`, in link format, and its filters (RFC 6690). */
export interface Resource {
  /** With its leading slash. */
  href: string;
  title: string;
  /** Kinds, interfaces and content formats: each may be several. */
  rt: readonly string[];
  if: readonly string[];
  ct: readonly number[];
  obs?: boolean;
}

/** One filter of a query, `rt=temp*`; what is no filter gives undefined. */
export interface LinkFilter {
  name: string;
  value: string;
}

export function parseFilters(queries: readonly string[]): LinkFilter[] {
  return queries.map((query) => {
    const at = query.indexOf('=');
    return at < 0 ? { name: query, value: '' } : { name: query.slice(0, at), value: query.slice(at + 1) };
  });
}

/** RFC 6690, section 4.1: a `*` at the end stands for the rest, lists of values match by one of them. */
export function matchesFilter(resource: Resource, { name, value }: LinkFilter): boolean {
  const wanted = /^"(.*)"$/s.exec(value)?.[1] ?? value;
  const fits = wanted.endsWith('*')
    ? (each: string) => each.startsWith(wanted.slice(0, -1))
    : (each: string) => each === wanted;
  return valuesOf(resource, name).some(fits);
}

function valuesOf(resource: Resource, name: string): string[] {
  switch (name) {
    case 'href':
      return [resource.href];
    case 'title':
      return [resource.title];
    case 'rt':
      return [...resource.rt];
    case 'if':
      return [...resource.if];
    case 'ct':
      return resource.ct.map(String);
    case 'obs':
      return resource.obs === true ? [''] : [];
    default:
      return [];
  }
}

export function writeLinks(resources: readonly Resource[], filters: readonly LinkFilter[] = []): string {
  return resources
    .filter((each) => filters.every((filter) => matchesFilter(each, filter)))
    .map(writeLink)
    .join(',');
}

function writeLink(resource: Resource): string {
  const attributes = [
    list('rt', resource.rt),
    list('if', resource.if),
    resource.ct.length === 1 ? `ct=${resource.ct[0]}` : list('ct', resource.ct.map(String)),
    `title="${quoted(resource.title)}"`,
    resource.obs === true ? 'obs' : '',
  ];
  return [`<${resource.href}>`, ...attributes.filter((each) => each !== '')].join(';');
}

const list = (name: string, values: readonly string[]) =>
  values.length === 0 ? '' : `${name}="${values.map(quoted).join(' ')}"`;

const quoted = (text: string) => text.replaceAll(/["\\]/g, '\\$&');
