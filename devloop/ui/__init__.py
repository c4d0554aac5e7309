"""Front-ends: each folds the one stream of events into a view and renders it.

This room sees events and plain values only, never the engine, the runtime or an adapter. `devloop.ui.front` chooses;
rich is imported only by the live view and where an error is printed in colour.
"""
