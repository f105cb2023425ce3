// The fleet: a picture of the rollout, a box for each wave and for each member. A colour stands for a release.

const fleetColour = release => {
  const sum = [...release ?? ""].reduce((total, letter) => (total * 31 + letter.codePointAt(0)) >>> 0, 7)
  return colourOf(1 + sum % 8)
}

const fleetStates = { claimed: "deploys", reverting: "goes back", reverted: "is back" }
const isAtRest = fleet => ["succeeded", "rolled_back", "halted", "failed"].includes(fleet.phase)
const isRolling = fleet => fleet.phase === "rolling" || fleet.phase === "baking"

function fleetState(fleet, member) {
  if (!member.present) return "absent"
  if (member.by_hand) return "by hand"
  if (member.state === "prepared") return isAtRest(fleet) ? "unchanged" : "waits"
  return fleetStates[member.state] ?? member.state ?? "at rest"
}

function fleetMember(fleet, member) {
  const state = fleetState(fleet, member)
  const box = make("li", { className: `member ${member.present ? member.state ?? "" : "absent"}`, title: member.reason ?? "" },
    make("strong", {}, member.name), ` ${member.release ?? "-"} `, make("small", {}, state))
  box.style.borderColor = member.present ? fleetColour(member.release) : "transparent"
  return box
}

function fleetWaves({ members, rollout }) {
  const waves = rollout?.waves ?? []
  const rows = waves.map((names, index) => [`wave ${index + 1}`, members.filter(member => names.includes(member.name))])
  const others = members.filter(member => !waves.flat().includes(member.name))
  return others.length ? [...rows, [rollout ? "not in this rollout" : "members", others]] : rows
}

function fleetPhase(fleet) {
  const { rollout } = fleet
  if (!rollout) return ""
  const words = (fleet.phase ?? "begins").replace("_", " ")
  const wave = isRolling(fleet) ? `, wave ${rollout.wave} of ${rollout.waves.length}` : ""
  return `${words}${wave}${rollout.paused && !isAtRest(fleet) ? ", paused" : ""}`
}

// What a person has to know: each is one line.
function fleetNotes({ engine, lock, rollout, members }) {
  return [
    engine.state === "up" ? null : `etcd is ${engine.state} since ${timeOf(engine.since)}: ${engine.reason ?? "no answer yet"}`,
    rollout?.reason ?? null,
    lock ? `locked by ${lock.by} since ${timeOf(lock.at)}: ${lock.note}` : null,
    ...(members ?? []).filter(member => member.by_hand).map(({ name, by_hand: release }) =>
      `${name} keeps ${release}, which was linked by hand, until the next order`),
  ].filter(Boolean)
}

function showFleet(fleet) {
  byId("fleet").hidden = !fleet
  if (!fleet) return
  const { rollout, phase } = fleet
  byId("fleet-title").textContent = `Fleet ${fleet.name}: ${fleet.wanted ?? "no release yet"}`
  byId("fleet-phase").textContent = fleetPhase(fleet)
  byId("fleet-phase").className = `phase ${phase ?? ""}`
  byId("fleet-more").textContent = rollout
    ? `Rollout ${rollout.id} of ${rollout.release} by ${rollout.by} at ${timeOf(rollout.at)}${rollout.note ? `: ${rollout.note}` : ""}`
    : `This is ${fleet.member}.`
  const notes = fleetNotes(fleet)
  show(byId("fleet-notes"), JSON.stringify(notes), ...notes.map(note => make("li", {}, note)))
  const rows = fleet.members ? fleetWaves(fleet) : []
  const present = isRolling(fleet) ? rollout.wave - 1 : -1
  show(byId("fleet-waves"), JSON.stringify([rows, present, phase]), ...rows.map(([caption, members], index) =>
    make("li", { className: index === present ? "wave now" : "wave" }, make("small", { className: "soft" }, caption),
      make("ul", {}, ...members.map(member => fleetMember(fleet, member))))))
}
