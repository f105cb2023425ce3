export const told = "lazy VERSION"
