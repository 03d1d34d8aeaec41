"""Rules for values of the alerts file: addresses, headers, keys of signatures, patterns of conversations.

Each rule refuses what could not work once a spike comes. Errors are ValueErrors that name the cure and quote no secret.
"""
