/** What was found out about a session when it was let in, kept until its hello; bounded. */
export interface JoinFacts {
  credentialId: string | undefined;
  address: string | undefined;
}

export interface JoinMemory {
  remember(wampSession: number, facts: JoinFacts): void;
  find(wampSession: number): JoinFacts | undefined;
}

const maxRemembered = 20_000;

export function createJoinMemory(): JoinMemory {
  const facts = new Map<number, JoinFacts | undefined>();
  return {
    remember(wampSession, joined) {
      const known = facts.get(wampSession);
      const differs = facts.has(wampSession) && known?.credentialId !== joined.credentialId;
      // Two HELLOs of one connection with different keys: only the router knows which one joined.
      facts.set(wampSession, differs ? undefined : joined);
      if (facts.size <= maxRemembered) return;
      for (const oldest of facts.keys()) {
        facts.delete(oldest);
        break;
      }
    },
    find: (wampSession) => facts.get(wampSession),
  };
}
