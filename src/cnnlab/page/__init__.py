"""The page that shows everything: `sources` reads what Git holds, `assemble` picks what belongs to the settings,
`render` puts it into one self-contained file. Never imports torch."""
