print("kalsae")
