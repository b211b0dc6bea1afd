"""What the served answers mean for those who decide: mood, impact, portfolio, risk.

Everything here takes prices, scored news and forecasts, and gives tables; nothing asks a
server or reads a file.
"""
