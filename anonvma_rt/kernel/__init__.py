"""The simulated kernel as a subject: its algorithms, scenarios, and what their executions mean."""
