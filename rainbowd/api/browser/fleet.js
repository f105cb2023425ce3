// The fleet: a picture of the rollout, a row for each wave and a box for each member. A colour stands for a release.

const fleetColour = release => {
  const sum = [...release ?? ""].reduce((total, letter) => (total * 31 + letter.codePointAt(0)) >>> 0, 7)
  return colourOf(1 + sum % 8)
}

const fleetStates = { prepared: "waits", claimed: "deploys", reverting: "goes back", reverted: "is back" }

function fleetMember(member) {
  const state = member.present ? member.state ?? "at rest" : "absent"
  const said = member.by_hand ? "by hand" : fleetStates[state] ?? state
  const box = make("li", { className: `member ${state.replace(" ", "-")}`, title: member.reason ?? "" },
    make("strong", {}, member.name), ` ${member.release ?? "-"} `, make("small", {}, said))
  box.style.borderColor = member.present ? fleetColour(member.release) : "transparent"
  return box
}

const isUnderWay = fleet => fleet.phase === "rolling" || fleet.phase === "baking"

function fleetWaves({ members, rollout }) {
  const waves = rollout?.waves ?? []
  const others = members.filter(member => !waves.flat().includes(member.name))
  const rows = waves.map(names => members.filter(member => names.includes(member.name)))
  return others.length ? [...rows, others] : rows
}

function showFleet(fleet) {
  byId("fleet").hidden = !fleet
  if (!fleet) return
  const { engine, rollout } = fleet
  const away = engine.state === "up" ? "" : `; etcd is ${engine.state} since ${timeOf(engine.since)}: ${engine.reason ?? ""}`
  const order = rollout ? `; rollout ${rollout.id} of ${rollout.release} by ${rollout.by}: ${
    (fleet.phase ?? "begins").replace("_", " ")}${isUnderWay(fleet) ? `, wave ${rollout.wave} of ${rollout.waves.length}` : ""}${
    rollout.paused ? ", paused" : ""}` : ""
  byId("fleet-title").textContent = `Fleet ${fleet.name}`
  byId("fleet-more").textContent = `${fleet.wanted ?? "no release yet"}; this is ${fleet.member}${order}${away}`
  const rows = fleet.members ? fleetWaves(fleet) : []
  const present = isUnderWay(fleet) ? rollout.wave - 1 : -1
  show(byId("fleet-waves"), JSON.stringify([rows, present]), ...rows.map((members, index) =>
    make("li", { className: index === present ? "wave now" : "wave" }, make("ul", {}, ...members.map(fleetMember)))))
}
