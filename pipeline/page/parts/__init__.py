"""Parts of the page's views: each reads its content from ClickHouse and says in words what the numbers mean."""
