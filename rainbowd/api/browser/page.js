// The page as a whole: the token, polling and event stream, and requests for deploys.

const STATUS_MS = 1000, LOAD_MS = 5000, RETRY_MS = 1000, SPANS_MS = [300_000, 900_000, KEEP_MS]
const TAKES_OVER = /^(deploy\.(waiting|failed)|hook\.ended|generation\.launched)$/
const ANNOUNCED = /^(deploy\.|generation\.(live|crashed)|agent\.)/

let timeline, loadHistory, status, history, chosenSpanMs = null, watched = null, closed = null, session = null
let answeredAt = 0, silentSince = null

const sleep = (ms, signal) => new Promise(resolve => {
  const timer = setTimeout(resolve, ms)
  signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true })
})

// --- the token ------------------------------------------------------------------------------------------------------

function lock(reason = "") {
  session?.abort()
  token.forget()
  byId("ask").close()
  byId("board").hidden = true
  byId("gate").hidden = false
  connection(null)
  byId("refusal").textContent = reason
  byId("token").value = ""
  byId("token").focus()
}

async function unlock() {
  try {
    status = await json("status")
  } catch (error) {
    return error instanceof Refused ? lock(error.message) : open()  // an agent that does not answer now can do so soon
  }
  open()
}

function open() {
  session = new AbortController()
  ;[timeline, loadHistory, history, watched, answeredAt, silentSince] = [new Timeline(), new LoadHistory(), [], null, Date.now(), null]
  byId("gate").hidden = true
  byId("board").hidden = false
  followEvents(session.signal)
  pollStatus(session.signal)
  pollLoad(session.signal)
}

byId("unlock").addEventListener("submit", event => {
  event.preventDefault()
  const text = byId("token").value.trim()
  if (!/^[!-~]+$/.test(text)) return lock("The token was refused: a token is letters and digits in one line.")
  token.keep(text)
  byId("refusal").textContent = ""
  unlock()
})

// --- polling, and the event stream ------------------------------------------------------------------------------------------

// Repeats `act` until the session ends, also if it fails; if the token is refused, locks the page.
async function repeat(act, pauseMs, signal, failed = () => {}) {
  while (!signal.aborted) {
    try {
      await act()
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof Refused) return lock("The token was refused: the agent has a new one.")
      failed(error)
    }
    await sleep(pauseMs, signal)
  }
}

function pollStatus(signal) {
  let missed = 0
  return repeat(async () => {
    status = await json("status")
    if (signal.aborted) return
    missed = 0
    answeredAt = Date.now()
    connection(true)
    timeline.addStatus(status, clock.now())
    loadHistory.add(status.generations, clock.now())
    draw()
  }, STATUS_MS, signal, () => (connection(++missed < 2), draw()))
}

function pollLoad(signal) {
  let after = ""
  return repeat(async () => {
    const samples = await json(`load${after}`)
    if (samples.length) after = `?after=${samples.at(-1).at}`
    loadHistory.addAll(samples)
  }, LOAD_MS, signal)
}

function followEvents(signal) {
  let lastId = new Date(clock.now() - KEEP_MS).toISOString()
  const recent = clock.now()
  readHistory(signal)
  return repeat(async () => {
    for await (const { id, event } of events(lastId, signal)) {
      if (signal.aborted) return
      lastId = id
      timeline.addEvent(event)
      if (Date.parse(event.at) > recent - 1000) announce(event)
      if (event.event.startsWith("deploy.")) readHistory(signal)
      draw()
    }
  }, RETRY_MS, signal)
}

// Reads the history of deploys, a moment after an event of one.
let isReadingHistory = false
async function readHistory(signal) {
  if (isReadingHistory) return
  isReadingHistory = true
  await sleep(200, signal)
  isReadingHistory = false
  try {
    history = await json("history?n=20")
  } catch {
    return  // the next event reads it again, or the page is locked
  }
  showDeploys(history)
}

// Shows a deploy that was requested elsewhere, unless another one is shown; not that of a restored link.
function announce(event) {
  const isShown = timeline.deploys.get(watched)?.outcome === null
  if (event.deploy && TAKES_OVER.test(event.event) && !isShown) watched = event.deploy
  if (ANNOUNCED.test(event.event)) byId("announcer").textContent = sentence(event)
}

function connection(isGood) {
  silentSince = isGood === false ? answeredAt : null
  const pill = byId("connection")
  const text = isGood === null ? "" : isGood ? "connected" : "the agent does not answer; trying again"
  if (pill.textContent !== text) pill.textContent = text
  pill.hidden = !text
  pill.classList.toggle("lost", isGood === false)
  for (const name of ["redeploy", "rollback"]) byId(name).disabled = !isGood
}

// --- drawing --------------------------------------------------------------------------------------------------------

let isDrawing = false
function draw() {
  if (isDrawing) return
  isDrawing = true
  requestAnimationFrame(() => {
    isDrawing = false
    if (byId("board").hidden || !(status || silentSince)) return
    showLive(status, silentSince)
    if (!status) return
    for (const part of [showAgent, showWarnings, showGenerations, showLastDeploy]) part(status)
    showFleet(status.fleet)
    const deploying = deployingOf(status)
    showDeploying(deploying)
    showJournal(timeline)
    watch(deploying)
    const deploy = timeline.deploys.get(watched)
    if (deploy) showProgress(deploy, deploying?.deploy === deploy.id ? deploying : null)
    byId("rainbow").classList.toggle("busy", [...timeline.deploys.values()].some(one => !one.outcome))
    drawCharts()
  })
}

// Shows the deploy in progress, unless another one is shown or the user has closed it.
function watch(deploying) {
  const isShown = timeline.deploys.get(watched)?.outcome === null
  if (deploying && !isShown && deploying.deploy !== closed && timeline.deploys.has(deploying.deploy)) watched = deploying.deploy
}

// Returns the chosen range, by default the shortest one that contains all generations.
function spanNow(now) {
  const oldest = Math.min(now, ...timeline.inLanes().map(one => one.phases[0].at))
  const spanMs = chosenSpanMs ?? SPANS_MS.find(ms => now - oldest <= ms) ?? KEEP_MS
  byId("span-name").textContent = spanMs === KEEP_MS ? "hour" : `${spanMs / 60_000} minutes`
  document.querySelector(`#spans [value="${spanMs / 1000}"]`).checked = true
  return spanMs
}

function drawCharts() {
  const now = clock.now(), spanMs = spanNow(now)
  drawBands(byId("bands"), timeline, loadHistory, new Scale(byId("bands"), spanMs, now))
  const rate = drawRequests(byId("requests"), loadHistory, new Scale(byId("requests"), spanMs, now, GUTTER))
  const latency = drawLatency(byId("latency"), loadHistory, new Scale(byId("latency"), spanMs, now, GUTTER))
  showFigures(status, rate, latency)
}

byId("spans").addEventListener("change", event => {
  chosenSpanMs = Number(event.target.value) * 1000
  draw()
})
new ResizeObserver(draw).observe(byId("board"))
byId("progress-close").addEventListener("click", () => {
  ;[closed, watched] = [watched, null]
  byId("progress").hidden = true
  byId("redeploy").focus()
})

// --- requesting a deploy --------------------------------------------------------------------------------------------

const liveNow = () => status?.generations.find(one => one.id === status.live)

// Returns the release that a rollback probably makes live; the agent decides.
function rollbackRelease() {
  const live = liveNow()
  if (live && status.wanted !== live.release) return live.release
  const other = entry => ["succeeded", "rolled_back"].includes(entry.result) && entry.release !== live?.release
  return history.find(other)?.release
}

const DIALOGS = {
  redeploy: () => ({
    title: "Redeploy",
    what: `Launches a new generation next to the live one; new requests move to it when it is healthy. Without a release, ${
      status?.wanted ? nameOf(status.wanted) : "the release that the files name"} is deployed again.`,
    go: "Redeploy",
  }),
  rollback: () => ({
    title: "Roll back",
    what: `Deploys ${rollbackRelease() ? nameOf(rollbackRelease()) : "the release that was live before"} in place of ${
      liveNow() ? nameOf(liveNow().release) : "nothing"}.`,
    go: rollbackRelease() ? `Roll back to ${nameOf(rollbackRelease())}` : "Roll back",
  }),
}

function confirm(path) {
  const { title, what, go } = DIALOGS[path]()
  const dialog = byId("ask")
  dialog.dataset.path = path
  byId("ask-title").textContent = title
  byId("ask-what").textContent = what
  byId("ask-go").textContent = go
  byId("ask-release").hidden = path !== "redeploy"
  byId("ask-form").reset()
  byId("release").placeholder = status?.wanted ? `${nameOf(status.wanted)} (the link's release)` : ""
  byId("ask-refusal").textContent = ""
  const names = new Set([...history, ...(status?.generations ?? [])].map(one => one.release && nameOf(one.release)))
  byId("releases").replaceChildren(...[...names].filter(Boolean).map(value => make("option", { value })))
  dialog.showModal()
}

byId("redeploy").addEventListener("click", () => confirm("redeploy"))
byId("rollback").addEventListener("click", () => confirm("rollback"))
byId("ask-cancel").addEventListener("click", () => byId("ask").close())
byId("ask-form").addEventListener("submit", async event => {
  event.preventDefault()
  const { path } = byId("ask").dataset
  const fields = { note: byId("note").value.trim() || null }
  if (path === "redeploy") fields.release = byId("release").value.trim() || null
  byId("ask-go").disabled = true
  try {
    watched = await requestDeploy(path, fields)
    byId("ask").close()
    draw()
  } catch (error) {
    if (error instanceof Refused) lock(error.message)
    byId("ask-refusal").textContent = error instanceof Problem ? error.message : "The agent did not answer. Check the journal before you try again."
  } finally {
    byId("ask-go").disabled = false
  }
})

if (token.get()) unlock()
else lock()
