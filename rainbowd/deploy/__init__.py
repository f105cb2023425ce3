"""Deploys: what a release's processes are started, watched and ended with, and what decides that they are."""
