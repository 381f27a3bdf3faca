/** Names made of a point: `{board}/{module}/{measurement}`. Pure. */
import { AppError } from '../runtime/app-error.ts';

export const templateNames = ['board', 'boardId', 'module', 'measurement'] as const;
export type TemplateValues = Record<(typeof templateNames)[number], string>;

/** Throws AppError `invalid-arguments` naming the field. */
export function checkTemplate(template: string, field: string): string {
  const fault = (rule: string) =>
    new AppError('invalid-arguments', `${field} ${rule}`, { details: { field } });
  for (const [, name = ''] of template.matchAll(/\{([^{}]*)\}/g))
    if (!(templateNames as readonly string[]).includes(name))
      throw fault(`may name ${templateNames.map((each) => `{${each}}`).join(', ')}, not {${name}}`);
  if (/[{}]/.test(template.replaceAll(/\{[^{}]*\}/g, ''))) throw fault('must close each { with a }');
  return template;
}

export function fillTemplate(template: string, values: TemplateValues): string {
  return template.replaceAll(/\{([^{}]*)\}/g, (_whole, name: keyof TemplateValues) => values[name] ?? '');
}
