"""What `judge` is made of: its template, what it asks for, how replies are read, models, retries and budgets."""
