import "./lazy.css"

export const told = "lazy VERSION"
