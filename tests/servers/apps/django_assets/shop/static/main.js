window.load = async () => (await import("./lazy.js")).told
