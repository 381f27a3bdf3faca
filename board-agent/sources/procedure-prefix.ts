/**
 * Prefix of a module's procedures. Module names are freer than procedure names: `Hall-2` has the
 * procedures `hall_2.…`. `operation.…` is reserved, so a module of that name is moved aside.
 */
export function procedurePrefix(module: string): string {
  const words = module
    .toLowerCase()
    .split('.')
    .map((word) => word.replaceAll(/[^a-z0-9_]+/g, '_').replace(/^_+/, ''))
    .filter((word) => word !== '');
  const prefix = words.join('.').replace(/^(?=[0-9])/, 'm');
  if (prefix === '') return 'module';
  return words[0] === 'operation' ? `module_${prefix}` : prefix;
}
