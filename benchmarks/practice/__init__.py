"""How good the advice of `hmmtheory.practice` is on real features; see README.md one level up."""
