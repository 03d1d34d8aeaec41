"""Days of conversations: how a day is rolled up from its minutes, and the views of days."""
