/// A binary heap: `pop` gives the element that precedes all others.
struct Heap<Element: HeapElement> {
  private var elements: [Element] = []

  mutating func removeAll(keepingCapacity: Bool) { elements.removeAll(keepingCapacity: keepingCapacity) }

  mutating func push(_ element: Element) {
    elements.append(element)
    var child = elements.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard elements[child].precedes(elements[parent]) else { break }
      elements.swapAt(child, parent)
      child = parent
    }
  }

  mutating func pop() -> Element? {
    guard let top = elements.first else { return nil }
    let last = elements.removeLast()
    guard !elements.isEmpty else { return top }
    elements[0] = last
    var parent = 0
    while true {
      var child = 2 * parent + 1
      guard child < elements.count else { break }
      if child + 1 < elements.count, elements[child + 1].precedes(elements[child]) { child += 1 }
      guard elements[child].precedes(elements[parent]) else { break }
      elements.swapAt(child, parent)
      parent = child
    }
    return top
  }
}

protocol HeapElement {
  func precedes(_ other: Self) -> Bool
}
