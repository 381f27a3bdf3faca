/** STATE_DIRECTORY is what systemd gives a unit with StateDirectory=. */
export function defaultStateDir(): string {
  return process.env.BOARDWALK_AGENT_STATE ?? process.env.STATE_DIRECTORY ?? '/var/lib/boardwalk-agent';
}
