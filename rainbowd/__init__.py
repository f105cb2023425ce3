"""rainbowd: painless zero-downtime redeploys for simple apps.

The agent launches each release of an app on a free port, checks it, moves new requests to it, lets the old one finish
what it has in flight, stops it and reaps it.  Two flows go one way each, and meet in one place:

- a deploy: file changes -> trigger -> supervisor -> generation (launch, probe) -> ``Roster.promote`` -> retire the old;
- a request: socket -> ``http1`` (bytes -> events) -> ``Roster.lease`` -> exchange -> app -> client.

The invariants that everything else serves:

1. At most one generation is live, and every request holds a lease on exactly one generation from before its first byte
   is sent to the app until after the last byte of the answer was sent to the client.
2. A generation becomes live by one assignment, only after it was seen healthy on a socket that its own processes hold.
3. A generation is told to stop only when it is not live any more and its last lease has ended, or its time to drain is
   over.
4. A generation's record is on disk before its first instruction runs, and goes only after its last process has gone.
5. What the app receives is what rainbowd understood: every message is serialised anew from its parsed parts.
6. Files say what should be live.  The agent compares them with what is; an event is only a reason to look sooner.
7. The task that started a process outlives it.  Shutdown is the nesting of the nurseries reversed.
"""

__version__ = "0.1.0"
