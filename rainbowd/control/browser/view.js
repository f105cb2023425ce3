// What is written on the page. Text from the agent becomes text nodes, never markup.

const byId = id => document.getElementById(id)

function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties)
  made.append(...children.filter(child => child !== null && child !== undefined))
  return made
}

// Replaces what an element has only where it differs: else a reader's place and selection would be lost each second.
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

// As `rainbowd status` says how long ago something was.
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
  byId("agent").textContent =
    `${agent.version}, ${agent.state}, up ${ago(agent.started_at)}, listening on ${agent.listen.join(", ") || "nothing"}`
}

function showLive(status) {
  const live = status.generations.find(one => one.id === status.live)
  const name = live ? `${nameOf(live.release)} is live` : WORDS.warnings.dead
  if (byId("live").textContent !== name) byId("live").textContent = name
  document.title = `${name} – rainbowd`
  const colour = live ? colourOf(live.id) : "#888888"
  document.documentElement.style.setProperty("--live", colour)
  byId("live-more").textContent = live
    ? `generation ${live.id} for ${ago(live.live_at ?? live.started_at)}, ${whole(live.requests)} requests`
    : "requests wait a little, then are answered with 503"
  const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${colour}"/></svg>`
  const href = `data:image/svg+xml,${encodeURIComponent(icon)}`
  const link = document.querySelector("link[rel=icon]")
  if (link.href !== href) link.href = href
}

function showLastDeploy(deploy) {
  if (!deploy) return
  const result = deploy.result.replace("_", " ")
  const told = make("b", { className: deploy.result === "failed" ? "bad" : "good" }, result)
  const reason = deploy.reason ? `: ${deploy.reason}` : ""
  const text = `last deploy ${result} ${ago(deploy.at)}`
  show(byId("last-deploy"), text, "last deploy ", told, ` ${ago(deploy.at)} ago${reason}`)
}

function showWarnings(status) {
  const told = warnings(status)
  show(byId("warnings"), told.join("\n"), ...told.map(text => make("li", {}, `warning: ${text}`)))
}

function showFigures(status, rate, latency) {
  const sum = key => status.generations.reduce((total, one) => total + one[key], 0)
  byId("figure-requests").textContent = rate === null ? "–" : short(rate)
  byId("figure-flight").textContent = whole(sum("in_flight"))
  byId("figure-tunnels").textContent = whole(sum("tunnels"))
  byId("figure-half").textContent = latency ? millis(latency.half) : "–"
  byId("figure-most").textContent = latency ? `95 % within ${millis(latency.most)}` : ""
}

function showGenerations(status) {
  const rows = status.generations.map(one => {
    const isLive = one.id === status.live
    const number = text => make("td", { className: "number" }, text)
    return make("tr", { className: isLive ? "is-live" : "" },
      make("th", { scope: "row", className: "number" }, swatch(one.id), String(one.id)),
      make("td", {}, one.state),
      make("td", { title: one.release }, nameOf(one.release)),
      number(ago(one.started_at)), number(whole(one.in_flight)), number(whole(one.tunnels)), number(whole(one.requests)),
      make("td", { className: "wide" }, one.address),
      make("td", { className: "number wide" }, one.pid === null ? "-" : String(one.pid)))
  })
  const none = make("tr", {}, make("td", { colSpan: 9 }, "no generation is there"))
  byId("generations").replaceChildren(...(rows.length ? rows : [none]))
}

// --- what happened --------------------------------------------------------------------------------------------------

const RESULTS = { succeeded: "good", rolled_back: "good", failed: "bad" }

function told(event) {
  const result = { "deploy.failed": "bad", "deploy.succeeded": "good", "deploy.rolled_back": "good" }[event.event]
  return make("span", { className: result ?? "" },
    event.generation && event.event.startsWith("generation.") ? swatch(event.generation) : null, sentence(event))
}

function showJournal(story) {
  const shown = story.journal.filter(event => WORDS.sentences[event.event]).slice(-JOURNAL_MAX).reverse()
  const lines = shown.map(event => make("li", {}, make("time", { dateTime: event.at }, timeOf(event.at)), told(event)))
  const none = make("li", { className: "soft" }, "nothing within the last hour")
  show(byId("journal"), `${shown.length} ${shown[0]?.at} ${shown[0]?.event}`, ...(lines.length ? lines : [none]))
}

function showDeploys(history) {
  const isOpen = new Set([...byId("deploys").querySelectorAll("details[open]")].map(one => one.dataset.deploy))
  const isKnown = new Set([...byId("deploys").querySelectorAll("details")].map(one => one.dataset.deploy))
  const last = history.find(entry => entry.result !== "rolled_back")  // a failure is often followed by the link's way back
  const items = history.map(entry => deployed(entry, isOpen.has(entry.deploy) || (entry === last && !isKnown.has(entry.deploy))))
  const none = make("li", { className: "soft" }, "no deploy is on record")
  show(byId("deploys"), JSON.stringify(history), ...(items.length ? items : [none]))
}

// As a line of `rainbowd history`; of one that failed also why, and what the app said.
function deployed(entry, isOpen) {
  const result = (entry.result ?? "undecided").replace("_", " ")
  const by = [entry.by, entry.trigger && `(${entry.trigger})`].filter(Boolean).join(" ")
  const line = make("div", { className: "line" },
    entry.generation === null ? null : swatch(entry.generation),
    make("b", {}, entry.release ? nameOf(entry.release) : "-"),
    make("span", { className: RESULTS[entry.result] ?? "soft" }, result),
    make("time", { dateTime: entry.at }, timeOf(entry.at)))
  const more = [by, entry.seconds === null ? null : `${entry.seconds.toFixed(2)} s`].filter(Boolean).join(", ")
  const made = make("li", {}, line, make("p", { className: "more" }, more, entry.note ? make("q", {}, entry.note) : null))
  made.dataset.deploy = entry.deploy
  if (entry.reason) made.append(failure(entry, isOpen))
  return made
}

function failure({ deploy, reason, output }, isOpen) {
  if (!output?.length) return make("p", { className: "bad" }, reason)
  const said = make("pre", { tabIndex: 0 }, output.join("\n"))
  said.setAttribute("role", "region")
  said.setAttribute("aria-label", "The app's last lines")
  const made = make("details", { open: isOpen }, make("summary", { className: "bad" }, reason), said)
  made.dataset.deploy = deploy
  return made
}

// The steps of a deploy as `rainbowd deploy` tells them, with the time since it was asked for.
function showProgress(deploy) {
  const [first] = deploy.events
  const asked = deploy.events.find(event => event.event === "deploy.requested") ?? first
  const since = event => `${((Date.parse(event.at) - Date.parse(first.at)) / 1000).toFixed(2)} s`
  const steps = deploy.events.filter(event => !(event.event in DECISIONS))
  const decided = deploy.decided
  byId("progress-title").textContent = `Deploy of ${nameOf(decided?.release ?? asked.release)}`
  show(byId("steps"), `${deploy.id} ${steps.length}`, ...steps.map(event => make("li", {}, make("time", {}, since(event)), told(event))))
  show(byId("progress-end"), `${deploy.id} ${decided?.event}`, ...(decided ? outcome(decided, since(decided)) : [make("div", { className: "waiting" })]))
  byId("progress").hidden = false
}

function outcome(decided, seconds) {
  if (decided.event === "deploy.failed") {
    const said = failure({ ...decided, deploy: `end of ${decided.deploy}` }, true)
    return [make("p", { className: "bad" }, `the deploy failed after ${seconds}`), said]
  }
  const again = decided.event === "deploy.rolled_back" ? ", nothing was launched" : ""
  const live = `${nameOf(decided.release)} is live: generation ${decided.generation}${again}, after ${seconds}`
  return [make("p", { className: "good" }, live)]
}
