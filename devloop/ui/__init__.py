"""Front-ends: each folds the same stream of events into something a person or a program reads."""
