"""The ablation: variants of a network against their baseline, over seeds. `runs` trains, `statistics` compares."""
