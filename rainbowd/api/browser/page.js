// The page as a whole: the token, polling and event stream, and requests for deploys.

const LOOK_MS = 1000, RECALL_MS = 5000, AGAIN_MS = 1000, SPANS_MS = [300_000, 900_000, KEEP_MS]
const TAKES_OVER = /^(deploy\.(waiting|failed)|hook\.ended|generation\.launched)$/
const ANNOUNCED = /^(deploy\.|generation\.(live|crashed)|agent\.)/

let timeline, loadHistory, status, history, chosenSpanMs = null, watched = null, closed = null, session = null
let answeredAt = 0, silentSince = null

const sleep = (ms, signal) => new Promise(resolve => {
  const timer = setTimeout(resolve, ms)
  signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true })
})

// --- the token ------------------------------------------------------------------------------------------------------

function lock(why = "") {
  session?.abort()
  token.forget()
  byId("ask").close()
  byId("board").hidden = true
  byId("gate").hidden = false
  connection(null)
  byId("refusal").textContent = why
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
  listen(session.signal)
  look(session.signal)
  recall(session.signal)
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

// Repeats `act` until the session ends, also if it fails; if the token is refused, asks for another one.
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

function look(signal) {
  let missed = 0
  return repeat(async () => {
    status = await json("status")
    if (signal.aborted) return
    missed = 0
    answeredAt = Date.now()
    connection(true)
    timeline.see(status, clock.now())
    loadHistory.see(status.generations, clock.now())
    draw()
  }, LOOK_MS, signal, () => (connection(++missed < 2), draw()))
}

function recall(signal) {
  let after = ""
  return repeat(async () => {
    const samples = await json(`load${after}`)
    if (samples.length) after = `?after=${samples.at(-1).at}`
    loadHistory.remember(samples)
  }, RECALL_MS, signal)
}

function listen(signal) {
  let lastId = new Date(clock.now() - KEEP_MS).toISOString()
  const recent = clock.now()
  remember(signal)
  return repeat(async () => {
    for await (const { id, event } of events(lastId, signal)) {
      if (signal.aborted) return
      lastId = id
      timeline.take(event)
      if (Date.parse(event.at) > recent - 1000) happened(event)
      if (event.event.startsWith("deploy.")) remember(signal)
      draw()
    }
  }, AGAIN_MS, signal)
}

// The deploys of all times, read again a moment after there is news of one.
let remembering = false
async function remember(signal) {
  if (remembering) return
  remembering = true
  await sleep(200, signal)
  remembering = false
  try {
    history = await json("history?n=20")
  } catch {
    return  // there will be news again, or the page is locked
  }
  showDeploys(history)
}

// Shows a deploy that was requested elsewhere too, unless another one is shown; not the one of a restored link.
function happened(event) {
  const isShown = timeline.deploys.get(watched)?.decided === null
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
    showDeploying(status.deploying)
    showJournal(timeline)
    watch(status.deploying)
    const deploy = timeline.deploys.get(watched)
    if (deploy) showProgress(deploy, status.deploying?.deploy === deploy.id ? status.deploying : null)
    byId("rainbow").classList.toggle("busy", [...timeline.deploys.values()].some(one => !one.decided))
    drawCharts()
  })
}

// A deploy that is under way is shown, unless another is or this one was closed.
function watch(deploying) {
  const isShown = timeline.deploys.get(watched)?.decided === null
  if (deploying && !isShown && deploying.deploy !== closed && timeline.deploys.has(deploying.deploy)) watched = deploying.deploy
}

// The shortest range that has all that is known, until another is chosen.
function spanNow(now) {
  const oldest = Math.min(now, ...timeline.placed().map(one => one.phases[0].at))
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

// --- asking for a deploy --------------------------------------------------------------------------------------------

const liveNow = () => status?.generations.find(one => one.id === status.live)

// The release that a rollback probably makes live: the agent decides.
function before() {
  const live = liveNow()
  if (live && status.wanted !== live.release) return live.release
  const other = entry => ["succeeded", "rolled_back"].includes(entry.result) && entry.release !== live?.release
  return history.find(other)?.release
}

const ASKS = {
  redeploy: () => ({
    title: "Redeploy",
    what: `Launches a new generation next to the live one; new requests move to it when it is healthy. Without a release, ${
      status?.wanted ? nameOf(status.wanted) : "the release that the files name"} is deployed again.`,
    go: "Redeploy",
  }),
  rollback: () => ({
    title: "Roll back",
    what: `Deploys ${before() ? nameOf(before()) : "the release that was live before"} in place of ${
      liveNow() ? nameOf(liveNow().release) : "nothing"}.`,
    go: before() ? `Roll back to ${nameOf(before())}` : "Roll back",
  }),
}

function confirm(path) {
  const { title, what, go } = ASKS[path]()
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
    watched = await ask(path, fields)
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
