"""What is seen of a process from outside: by its logs, its traces and its figures.

Each page stands alone, and the engine imports none of them.

* `logs` - log lines that say which job they are of; as text that nobody can forge, or as JSON
* `prometheus` - metrics for Prometheus (extra `prometheus`)
* `otel` - spans and metrics of OpenTelemetry (extra `otel`)
* `listen` - `/livez`, `/readyz` and `/metrics` over HTTP, for probes and scrapers
"""
