"""The experiment on the scaling claim of the mail of 2011 (docs/scaling.md): its subject, its model, its pictures."""
