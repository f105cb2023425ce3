import "./main.css"

window.load = async () => (await import("./lazy.js")).told
