"""Measures perfd symbolize beside its peers: how many addresses a second of CPU time names, in how much memory, and how soon the first."""
