/** Writes lines for people. */
import { visible } from './visible.ts';

/** What devices, brokers and servers have said goes to a terminal, too. Line feeds and tabs stay. */
export function say(text: string): void {
  process.stdout.write(`${text.replaceAll(/[^\P{Cc}\n\t]/gu, visible)}\n`);
}
