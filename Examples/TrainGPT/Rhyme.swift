/// A traditional English rhyme, which grows by a line in each verse.
let theHouseThatJackBuilt: String = {
  let parts = [
    ("the house that Jack built.", ""), ("the malt", "that lay in"), ("the rat", "that ate"),
    ("the cat", "that killed"), ("the dog", "that worried"),
    ("the cow with the crumpled horn", "that tossed"),
    ("the maiden all forlorn", "that milked"), ("the man all tattered and torn", "that kissed"),
    ("the priest all shaven and shorn", "that married"), ("the cock that crowed in the morn", "that woke"),
    ("the farmer sowing his corn", "that kept"),
  ]
  let verses = parts.indices.map { last in
    var verse = "This is " + parts[last].0
    for line in (0..<last).reversed() { verse += "\n" + parts[line + 1].1 + " " + parts[line].0 }
    return verse
  }
  return verses.joined(separator: "\n\n") + "\n"
}()
