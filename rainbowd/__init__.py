"""rainbowd: painless zero-downtime redeploys for simple apps.

The agent starts each release of an app on a free port, checks it, sends new requests to it, lets the old release finish
its requests in flight, then stops it and reaps its processes.  There are two one-way flows, which meet in the roster:

- a deploy: file changes -> trigger -> supervisor -> generation (launch, check) -> ``Roster.promote`` -> retire the old;
- a request: socket -> ``http1`` (bytes -> events) -> ``Roster.lease`` -> exchange -> app -> client.

The invariants that all code keeps:

1. At most one generation is live, and at most one candidate is the canary, which gets a share of the new requests.  A
   request that is passed on holds a lease on the generation that answers it, from before its first byte is sent to the
   app until the whole response has been handed to the client's connection.
2. A generation gets requests only after its check: a health check on a socket that its own processes hold (as far as
   /proc shows it), or the warm-up time.  It becomes live by one assignment.  An upgrade hands over generations that
   have passed their check.
3. A generation that is alive and serving is stopped only after it gets no new requests, other than for ``assets`` that
   the chosen one lacks, and its last lease has ended or its drain timeout has passed.  One that crashed, or refused
   connections for a second, is stopped at once.
4. A generation's record is on disk before the app's first instruction runs, and is removed when the generation is
   retired; processes that could not be killed are reported in ``left``.
5. The app receives what rainbowd understood: every head is serialised again from its parsed parts.  After ``101``,
   bytes pass unchanged.
6. The files name the release that should be live.  Events only make the agent check them sooner.  A relaunch uses the
   release and the config that the generation was launched from.
7. The task that started a process outlives it, unless another agent takes the process over.  Shutdown is the nesting of
   the nurseries reversed.
"""

__version__ = "0.2.0"
