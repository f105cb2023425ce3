// The history of generations and deploys, from the journal's events and the status. WORDS is written by page.py.

const STATES = { launched: "starting", live: "live", standby: "standby", draining: "draining" }
const BEFORE = { "generation.draining": "live", "generation.standby": "live", "generation.retired": "draining",
  "generation.crashed": "live", "generation.healthy": "starting" }
const DECISIONS = { "deploy.succeeded": "succeeded", "deploy.rolled_back": "rolled back", "deploy.failed": "failed" }
const KEEP_MS = 3600_000
const JOURNAL_MAX = 200
const SURE_MS = 3000  // after this time the status and the journal must agree

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

// What the headline does not say already.
const warnings = status => status.warnings.filter(one => !["dead", "waiting"].includes(one.kind)).map(one => one.text)

// The status can show a phase before the journal does, or at a slightly different time.
function enter(one, state, at) {
  const before = one.phases.findLast(phase => phase.at <= at)
  if (before?.state === state || one.phases.some(phase => phase.state === state && Math.abs(phase.at - at) < SURE_MS)) return
  one.phases.push({ state, at })
  one.phases.sort((a, b) => a.at - b.at)
}

class Timeline {
  generations = new Map()  // by id: { id, release, phases: [{ state, at }], endedAt, breaks: [at], lane }
  deploys = new Map()      // by id: { id, events, generations, decided }
  journal = []             // oldest first

  take(event) {
    const at = Date.parse(event.at)
    this.journal.push(event)
    if (this.journal.length > JOURNAL_MAX) this.journal.shift()
    if (event.event.startsWith("generation.")) this.#generation(event, at)
    if (event.event === "agent.started") this.#startedAt = at
    this.#deploy(event)
  }

  // The status has generations that are older than the journal's events, and lacks those that ended without an event.
  see(status, at) {
    for (const told of status.generations) {
      const one = this.#of(told.id, told.release)
      if (!one.phases.length) {
        enter(one, "starting", Date.parse(told.started_at))
        if (told.live_at) enter(one, "live", Date.parse(told.live_at))
      }
      if (told.state !== "stopping" && at - one.phases.at(-1).at > SURE_MS) enter(one, told.state, at)
    }
    const alive = new Set(status.generations.map(one => one.id))
    for (const one of this.generations.values()) {
      const last = one.phases.at(-1)
      if (one.endedAt === null && !alive.has(one.id) && at - last.at > SURE_MS) {
        one.endedAt = Math.max(last.at, Math.min(at, this.#startedAt || at))
      }
      if (one.endedAt !== null && one.endedAt < at - KEEP_MS) this.generations.delete(one.id)
    }
    for (const deploy of this.deploys.values()) {
      if (deploy.decided && Date.parse(deploy.decided.at) < at - KEEP_MS) this.deploys.delete(deploy.id)
    }
  }

  // All generations in the order in which they came, each on a lane that was free then, on which it stays.
  placed() {
    const all = [...this.generations.values()].filter(one => one.phases.length)
    all.sort((a, b) => a.phases[0].at - b.phases[0].at || a.id - b.id)
    for (const one of all) {
      if (one.lane !== null) continue
      const busy = all.filter(other => other.lane !== null && (other.endedAt ?? Infinity) >= one.phases[0].at)
      one.lane = 0
      while (busy.some(other => other.lane === one.lane)) one.lane++
    }
    return all
  }

  #startedAt = 0

  #of(id, release) {
    if (!this.generations.has(id)) this.generations.set(id, { id, release, phases: [], endedAt: null, breaks: [], lane: null })
    return this.generations.get(id)
  }

  #generation(event, at) {
    const one = this.#of(event.generation, event.release)
    const kind = event.event.slice("generation.".length)
    if (!one.phases.length && BEFORE[event.event]) enter(one, BEFORE[event.event], -Infinity)
    const state = kind === "adopted" ? event.state : STATES[kind]
    if (state) enter(one, state, at)
    if (kind === "crashed") one.breaks.push(at)
    if (kind === "retired") one.endedAt = at
  }

  #deploy(event) {
    const own = event.deploy && (this.deploys.get(event.deploy) ?? this.#begun(event))
    if (own && event.event === "generation.launched") own.generations.add(event.generation)
    for (const deploy of this.deploys.values()) {
      const isItsGeneration = event.event.startsWith("generation.") && deploy.generations.has(event.generation)
      if (deploy !== own && !(isItsGeneration && !deploy.decided)) continue
      deploy.events.push(event)
      if (event.event in DECISIONS) {
        deploy.decided = event
        const failed = event.event === "deploy.failed" && this.generations.get(event.generation)
        if (failed) failed.breaks.push(Date.parse(event.at))
      }
    }
  }

  #begun(event) {
    const deploy = { id: event.deploy, events: [], generations: new Set(), decided: null }
    this.deploys.set(event.deploy, deploy)
    return deploy
  }
}
