// The texts of the page. Text from the agent becomes text nodes, never markup.

const byId = id => document.getElementById(id)

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children.filter(child => child !== null && child !== undefined))
  return made
}

// Replaces the content of an element only if it differs; otherwise a selection would be lost each second.
function show(element, key, ...children) {
  if (element.dataset.shown === key) return
  element.dataset.shown = key
  element.replaceChildren(...children)
}

const two = number => String(number).padStart(2, "0")
const clockOf = date => `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`

function timeOf(at) {
  const date = new Date(at)
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `
  return (date.toDateString() === new Date().toDateString() ? "" : day) + clockOf(date)
}

// Returns how long ago a time was, as `rainbowd status` does.
function ago(at) {
  const seconds = Math.max(0, Math.floor((clock.now() - Date.parse(at)) / 1000))
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600), Math.floor(seconds / 60)]
  if (days) return `${days}d ${hours % 24}h`
  if (hours) return `${hours}h ${minutes % 60}m`
  if (minutes) return `${minutes}m ${seconds % 60}s`
  return `${seconds}s`
}

const short = number => number.toLocaleString([], { maximumFractionDigits: number < 10 ? 1 : 0 })
const millis = seconds => (seconds < 1 ? `${short(seconds * 1000)} ms` : `${short(seconds)} s`)
const whole = number => number.toLocaleString()

function swatch(id) {
  const made = make("i", { className: "swatch" })
  made.style.background = colourOf(id)
  return made
}

// --- the top --------------------------------------------------------------------------------------------------------

function showAgent(status) {
  const { agent } = status
  byId("name").textContent = agent.name ?? "rainbowd"
  byId("agent").textContent = `rainbowd ${agent.version}, ${agent.state}, up ${ago(agent.started_at)}, listening on ${
    agent.listen.join(", ") || "nothing"}`
}

// Red is for trouble only; no generation has that colour.
const TROUBLE = "#d92d3a", WAITING = "#c27c00"

// Returns the headline, the line below it and the colour. `silentSince`: since when the agent has not answered.
function condition(status, silentSince) {
  const live = status?.generations.find(one => one.id === status.live)
  if (silentSince !== null) return { mood: "gone", colour: TROUBLE, headline: "the agent does not answer",
    more: `since ${timeOf(silentSince)}. ${status ? "Below is its last report. " : ""}The app may still be running.` }
  if (live) return { mood: "live", colour: colourOf(live.id), headline: `${nameOf(live.release)} is live`,
    more: `generation ${live.id} for ${ago(live.live_at ?? live.started_at)}, ${whole(live.requests)} requests` }
  const first = status.warnings.find(one => one.kind === "waiting")
  if (first) return { mood: "waiting", colour: WAITING, headline: "no release yet", more: first.text }
  return { mood: "down", colour: TROUBLE, headline: WORDS.warnings.dead,
    more: status.deploying ? "new requests wait for the launch" : "new requests are answered with 503, or wait for a launch" }
}

function showLive(status, silentSince) {
  const { mood, colour, headline, more } = condition(status, silentSince)
  document.documentElement.dataset.mood = mood
  document.documentElement.style.setProperty("--live", colour)
  if (byId("live").textContent !== headline) byId("live").textContent = headline
  byId("live-more").textContent = more
  document.title = `${headline} – ${status?.agent.name ?? "rainbowd"}`
  const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`
  const href = `data:image/svg+xml,${encodeURIComponent(icon)}`
  const link = document.querySelector("link[rel=icon]")
  if (link.href !== href) link.href = href
}

const STEPS = { plan: "reading the config", slot: "waiting until an older generation has ended",
  before_launch: "before_launch hook", boot: "starting the app", health: "health check" }

// Returns the deploy in progress; during a canary or a bake with its share, its end and its counts.
function deployingOf({ deploying, generations }) {
  const one = deploying && generations.find(({ id }) => id === deploying.generation)
  const judged = one?.[deploying.step]
  return judged ? { ...deploying, judged: { ...judged, share: one.share } } : deploying
}

// Returns the current step of a deploy, how long it lasts, and the last result of the health check, or the counts.
function stepOf({ step, step_at: at, last_check: check, judged }) {
  if (judged) {
    const left = Math.max(0, Math.ceil((Date.parse(judged.until) - Date.now()) / 1000))
    const share = judged.share ? ` with ${judged.share} % of the clients` : ""
    return `${step}${share}, ${left} s left; ${whole(judged.requests)} requests, ${whole(judged.errors)} failed`
  }
  return [`${STEPS[step] ?? step}, ${ago(at)}`, check && `last check: ${check}`].filter(Boolean).join("; ")
}

function showDeploying(deploying) {
  byId("deploying").hidden = !deploying
  if (!deploying) return
  const [verb, preposition] = deploying.rollback ? ["rolling back", " to "] : ["deploying", " "]
  const name = deploying.release ? `${preposition}${nameOf(deploying.release)}` : ""
  byId("deploying").replaceChildren(make("b", {}, `${verb}${name}`), `: ${stepOf(deploying)}`,
    deploying.output.length ? `; ${deploying.output.at(-1)}` : "")
}

function showLastDeploy(status) {
  const deploy = status.deploying ? null : status.last_deploy
  if (!deploy) return show(byId("last-deploy"), "")
  const isRollback = deploy.rollback && deploy.result === "succeeded"
  const result = isRollback ? "rolled back" : deploy.result.replace("_", " ")
  const label = make("b", { className: deploy.result === "failed" ? "bad" : "good" }, result)
  const reason = deploy.reason ? `: ${deploy.reason}` : ""
  const text = `last deploy ${result} ${ago(deploy.at)}`
  show(byId("last-deploy"), text, "last deploy ", label, ` ${ago(deploy.at)} ago${reason}`)
}

function showWarnings(status) {
  const texts = warnings(status)
  show(byId("warnings"), texts.join("\n"), ...texts.map(text => make("li", {}, `warning: ${text}`)))
}

function showFigures(status, rate, latency) {
  const sum = key => status.generations.reduce((total, one) => total + one[key], 0)
  byId("figure-requests").textContent = rate === null ? "–" : short(rate)
  byId("figure-flight").textContent = whole(sum("in_flight"))
  byId("figure-tunnels").textContent = whole(sum("tunnels"))
  byId("figure-half").textContent = latency ? millis(latency.half) : "–"
  byId("figure-most").textContent = latency ? `95th percentile ${millis(latency.most)}` : ""
}

// The companion processes of a generation, in a row of its own below it.
function processRow(one) {
  const lanes = one.processes.map(process => {
    const isAlone = one.processes.filter(other => other.name === process.name).length === 1
    const name = isAlone ? process.name : `${process.name}.${process.instance}`
    const since = process.started_at ? `, up ${ago(process.started_at)}` : ""
    const restarts = process.restarts ? `, ${process.restarts} restarts` : ""
    return make("li", { className: process.state === "running" ? "" : "soft" },
      swatch(one.id), `${name} ${process.state}${since}${restarts}`)
  })
  return make("tr", { className: "lanes" }, make("td", { colSpan: 9 }, make("ul", {}, ...lanes)))
}

function showGenerations(status) {
  const rows = status.generations.flatMap(one => {
    const isLive = one.id === status.live
    const number = text => make("td", { className: "number" }, text)
    const row = make("tr", { className: isLive ? "is-live" : "" },
      make("th", { scope: "row", className: "number" }, swatch(one.id), String(one.id)),
      make("td", {}, one.share ? `${one.state} ${one.share} %` : one.state),
      make("td", { title: one.release }, nameOf(one.release)),
      number(ago(one.started_at)), number(whole(one.in_flight)), number(whole(one.tunnels)), number(whole(one.requests)),
      make("td", { className: "wide" }, one.address),
      make("td", { className: "number wide" }, one.pid === null ? "-" : String(one.pid)))
    return one.processes.length ? [row, processRow(one)] : [row]
  })
  const none = make("tr", {}, make("td", { colSpan: 9 }, "no generations"))
  const kept = status.kept ? [processRow({ id: status.kept.generation, processes: status.kept.processes })] : []
  byId("generations").replaceChildren(...(rows.length ? rows : [none]), ...kept)
}

// --- what happened --------------------------------------------------------------------------------------------------

function describe(event) {
  const result = { "deploy.failed": "bad", "deploy.succeeded": "good", "deploy.rolled_back": "good" }[event.event]
  return make("span", { className: event.superseded_by ? "soft" : result ?? "" },
    event.generation && event.event.startsWith("generation.") ? swatch(event.generation) : null, sentence(event))
}

function showJournal(timeline) {
  const shown = timeline.journal.filter(event => WORDS.sentences[event.event]).slice(-JOURNAL_MAX).reverse()
  const lines = shown.map(event => make("li", {}, make("time", { dateTime: event.at }, timeOf(event.at)), describe(event)))
  const none = make("li", { className: "soft" }, "nothing within the last hour")
  show(byId("journal"), `${shown.length} ${shown[0]?.at} ${shown[0]?.event}`, ...(lines.length ? lines : [none]))
}

function showDeploys(history) {
  const isOpen = new Set([...byId("deploys").querySelectorAll("details[open]")].map(one => one.dataset.deploy))
  const isKnown = new Set([...byId("deploys").querySelectorAll("details")].map(one => one.dataset.deploy))
  const last = history.find(entry => entry.result !== "rolled_back")  // a failed deploy is often followed by a restored link
  const items = history.map(entry => deployItem(entry, isOpen.has(entry.deploy) || (entry === last && !isKnown.has(entry.deploy))))
  const none = make("li", { className: "soft" }, "no deploys recorded")
  show(byId("deploys"), JSON.stringify(history), ...(items.length ? items : [none]))
}

// Returns the result of a deploy and its style; a superseded deploy has not failed.
function resultOf({ result, rollback, superseded_by }) {
  if (superseded_by) return ["superseded", "soft"]
  if (result === null) return ["under way", "soft"]
  if (result === "failed") return ["failed", "bad"]
  return [rollback || result === "rolled_back" ? "rolled back" : "succeeded", "good"]
}

const requester = ({ by, trigger }) =>
  trigger === "api" ? "through the API" : [by, trigger && `(${trigger})`].filter(Boolean).join(" ")

// Returns a deploy as a line of `rainbowd history`, and for a failed one the reason and the app's output.
function deployItem(entry, isOpen) {
  const [result, kind] = resultOf(entry)
  const by = requester(entry)
  const line = make("div", { className: "line" },
    entry.generation === null ? null : swatch(entry.generation),
    make("b", {}, entry.release ? nameOf(entry.release) : "-"),
    make("span", { className: kind }, result),
    make("time", { dateTime: entry.at }, timeOf(entry.at)))
  const more = [by, entry.seconds === null ? null : `${entry.seconds.toFixed(2)} s`].filter(Boolean).join(", ")
  const made = make("li", {}, line, make("p", { className: "more" }, more, entry.note ? make("q", {}, entry.note) : null))
  made.dataset.deploy = entry.deploy
  if (entry.superseded_by) made.append(make("p", { className: "more" }, entry.reason))
  else if (entry.reason) made.append(failure(entry, isOpen))
  return made
}

function failure({ deploy, reason, output }, isOpen) {
  if (!output?.length) return make("p", { className: "bad" }, reason)
  const lines = make("pre", { tabIndex: 0 }, output.join("\n"))
  lines.setAttribute("role", "region")
  lines.setAttribute("aria-label", reason.startsWith("before_launch") ? "The hook's last lines" : "The app's last lines")
  const made = make("details", { open: isOpen }, make("summary", { className: "bad" }, reason), lines)
  made.dataset.deploy = deploy
  return made
}

// Shows the steps of a deploy as `rainbowd deploy` does, with the time since it was requested.
function showProgress(deploy, deploying) {
  const [first] = deploy.events
  const request = deploy.events.find(event => event.event === "deploy.requested") ?? first
  const since = event => `${((Date.parse(event.at) - Date.parse(first.at)) / 1000).toFixed(2)} s`
  const steps = deploy.events.filter(event => !(event.event in RESULTS))
  const outcome = deploy.outcome
  byId("progress-title").textContent = `Deploy of ${nameOf(outcome?.release ?? deploying?.release ?? request.release)}`
  show(byId("steps"), `${deploy.id} ${steps.length}`, ...steps.map(event => make("li", {}, make("time", {}, since(event)), describe(event))))
  if (outcome) show(byId("progress-end"), `${deploy.id} ${outcome.event}`, ...outcomeItems(outcome, since(outcome)))
  else show(byId("progress-end"), `${deploy.id} ${JSON.stringify(deploying)} ${deploying && stepOf(deploying)}`, ...progressItems(deploying))
  byId("progress").hidden = false
}

function progressItems(deploying) {
  const bar = make("div", { className: "waiting" })
  if (!deploying) return [bar]
  const { output } = deploying
  return [make("p", {}, stepOf(deploying)), output.length ? make("pre", { tabIndex: 0 }, output.join("\n")) : "", bar]
}

function outcomeItems(outcome, seconds) {
  if (outcome.superseded_by) return [make("p", { className: "soft" }, `superseded by ${nameOf(outcome.superseded_by)} after ${seconds}`)]
  if (outcome.event === "deploy.failed") {
    const details = failure({ ...outcome, deploy: `end of ${outcome.deploy}` }, true)
    return [make("p", { className: "bad" }, `the deploy failed after ${seconds}`), details]
  }
  const again = outcome.event === "deploy.rolled_back" ? ", nothing was launched" : ""
  const live = `${nameOf(outcome.release)} is live: generation ${outcome.generation}${again}, after ${seconds}`
  return [make("p", { className: "good" }, live)]
}
