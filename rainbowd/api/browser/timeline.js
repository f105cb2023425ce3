// The timeline of generations and deploys, from the journal's events and the status. WORDS is written by page.py.

const STATES = { launched: "starting", canary: "canary", live: "live", standby: "standby", draining: "draining" }
const BEFORE = { "generation.draining": "live", "generation.standby": "live", "generation.retired": "draining",
  "generation.crashed": "live", "generation.healthy": "starting" }
const RESULTS = { "deploy.succeeded": "succeeded", "deploy.rolled_back": "rolled back", "deploy.failed": "failed" }
const KEEP_MS = 3600_000
const JOURNAL_MAX = 200
const LATE_MS = 3000  // how much later the journal may report a change than the status

const nameOf = path => String(path ?? "").replace(/\/+$/, "").split("/").pop() || String(path ?? "")
const colourOf = id => WORDS.colours[(id - 1) % WORDS.colours.length]

// The same three rules as report/sentences.py has.
function fill(template, fields) {
  const text = key => {
    const value = fields[key]
    if (value === true) return key
    if (value === null || value === undefined || value === false) return ""
    return Array.isArray(value) ? value.join(", ") : String(value)
  }
  const filled = part => part.replace(/\{(\w+)\}/g, (_, key) => text(key))
  const isWhole = part => [...part.matchAll(/\{(\w+)\}/g)].every(([, key]) => text(key))
  return filled(template.replace(/\[([^\][]*)\]/g, (_, part) => (isWhole(part) ? part : "")))
}

function sentence(event) {
  const winner = event.superseded_by && nameOf(event.superseded_by)
  const kind = winner ? "deploy.superseded" : event.on === false ? `${event.event}_ended` : event.event
  return fill(WORDS.sentences[kind] ?? "", { ...event, name: event.release && nameOf(event.release), winner })
}

// The warnings that the headline does not contain already, and what keeps requests from the app.
const warnings = status => [
  ...(status.maintenance ? ["maintenance: every request is answered 503"] : []),
  ...(status.pause ? [`paused: new requests wait for ${status.pause.seconds} s at most`] : []),
  ...status.warnings.filter(({ kind }) => !["dead", "waiting"].includes(kind)).map(({ text }) => text),
]

// The status can show a phase before the journal does, or at a slightly different time.
function enter(generation, state, at) {
  const before = generation.phases.findLast(phase => phase.at <= at)
  if (before?.state === state || generation.phases.some(phase => phase.state === state && Math.abs(phase.at - at) < LATE_MS)) return
  generation.phases.push({ state, at })
  generation.phases.sort((a, b) => a.at - b.at)
}

class Timeline {
  generations = new Map()  // by id: { id, release, phases: [{ state, at }], endedAt, crashes: [at], lane }
  deploys = new Map()      // by id: { id, events, generations, isBaking, outcome }
  journal = []             // oldest first

  addEvent(event) {
    const at = Date.parse(event.at)
    this.journal.push(event)
    if (this.journal.length > JOURNAL_MAX) this.journal.shift()
    if (event.event.startsWith("generation.")) this.#addGenerationEvent(event, at)
    if (event.event === "agent.started") this.#startedAt = at
    this.#addDeployEvent(event)
  }

  // The status has generations that are older than the journal's events, and lacks those that ended without an event.
  addStatus(status, at) {
    for (const { id, release, state, started_at: startedAt, live_at: liveAt } of status.generations) {
      const generation = this.#generationOf(id, release)
      if (!generation.phases.length) {
        enter(generation, "starting", Date.parse(startedAt))
        if (liveAt) enter(generation, "live", Date.parse(liveAt))
      }
      if (state !== "stopping" && at - generation.phases.at(-1).at > LATE_MS) enter(generation, state, at)
    }
    const known = new Set(status.generations.map(({ id }) => id))
    for (const generation of this.generations.values()) {
      const last = generation.phases.at(-1)
      if (generation.endedAt === null && !known.has(generation.id) && at - last.at > LATE_MS) {
        generation.endedAt = Math.max(last.at, Math.min(at, this.#startedAt || at))
      }
      if (generation.endedAt !== null && generation.endedAt < at - KEEP_MS) this.generations.delete(generation.id)
    }
    for (const deploy of this.deploys.values()) {
      if (deploy.outcome && Date.parse(deploy.outcome.at) < at - KEEP_MS) this.deploys.delete(deploy.id)
    }
  }

  // Returns all generations in the order of their start. Each gets a lane that is free at that time, and keeps it.
  inLanes() {
    const all = [...this.generations.values()].filter(generation => generation.phases.length)
    all.sort((a, b) => a.phases[0].at - b.phases[0].at || a.id - b.id)
    for (const generation of all) {
      if (generation.lane !== null) continue
      const busy = all.filter(other => other.lane !== null && (other.endedAt ?? Infinity) >= generation.phases[0].at)
      generation.lane = 0
      while (busy.some(other => other.lane === generation.lane)) generation.lane++
    }
    return all
  }

  #startedAt = 0

  #generationOf(id, release) {
    if (!this.generations.has(id)) this.generations.set(id, { id, release, phases: [], endedAt: null, crashes: [], lane: null })
    return this.generations.get(id)
  }

  #addGenerationEvent(event, at) {
    const generation = this.#generationOf(event.generation, event.release)
    const kind = event.event.slice("generation.".length)
    if (!generation.phases.length && BEFORE[event.event]) enter(generation, BEFORE[event.event], -Infinity)
    const state = kind === "adopted" ? event.state : STATES[kind]
    if (state) enter(generation, state, at)
    if (kind === "crashed") generation.crashes.push(at)
    if (kind === "retired") generation.endedAt = at
  }

  #addDeployEvent(event) {
    const own = event.deploy && (this.deploys.get(event.deploy) ?? this.#newDeploy(event))
    if (own && event.event === "generation.launched") own.generations.add(event.generation)
    for (const deploy of this.deploys.values()) {
      const isItsGeneration = event.event.startsWith("generation.") && deploy.generations.has(event.generation)
      const isLive = event.event === "generation.live" && !deploy.outcome
      const isBack = isLive && deploy.isBaking && !isItsGeneration  // its release has failed after it went live
      if (deploy !== own && !isBack && !(isItsGeneration && !deploy.outcome)) continue
      deploy.isBaking ||= isLive && isItsGeneration
      deploy.events.push(event)
      if (event.event in RESULTS) {
        deploy.outcome = event
        const failed = event.event === "deploy.failed" && this.generations.get(event.generation)
        if (failed) failed.crashes.push(Date.parse(event.at))
      }
    }
  }

  #newDeploy(event) {
    const deploy = { id: event.deploy, events: [], generations: new Set(), isBaking: false, outcome: null }
    this.deploys.set(event.deploy, deploy)
    return deploy
  }
}
