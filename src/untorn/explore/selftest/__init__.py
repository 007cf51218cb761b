"""untorn's own library under its explorer: workloads, what recovers from their crashes, what must then hold."""
