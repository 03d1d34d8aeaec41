"""The live page: what rises now and why, conversations by the minute, cascades and threads as they grow.

One shared query a tick feeds all viewers of a view (feeds.py); parts/ make the content, sql.py has every query.
"""
