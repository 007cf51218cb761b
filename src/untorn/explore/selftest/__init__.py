"""untorn's own library as a subject of its explorer: workloads, what recovers from their crashes, what must then hold."""
