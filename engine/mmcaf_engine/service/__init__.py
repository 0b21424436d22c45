"""The service beside the scanner: studies are received, answered and delivered, and none is lost.

What must outlive a crash stands in one SQLite file (`database`) and one folder, the spool. Every step of a study is one
transaction that can be made again: whichever process dies, and when, another goes on from there.
"""
