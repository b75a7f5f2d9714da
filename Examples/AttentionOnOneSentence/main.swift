// Attention line by line, on one sentence (Vaswani et al. 2017, section 3.2):
// `swift run -c release AttentionOnOneSentence`. The sentence as first argument, if you like.
//
// T tokens, C features, H heads of D = C / H features. Nothing is trained: embeddings and matrices are random, so a word
// finds what is like itself, above all where it occurs twice.
import Kalsae

let sentence = CommandLine.arguments.dropFirst().first ?? "the cat saw the dog and the dog saw the cat"
let features = 32, heads = 2
let key = RandomKey(seed: 1)

// 1. Tokens: each different word has a number.
let words = sentence.split(separator: " ").map(String.init)
guard !words.isEmpty else { fatalError("a sentence has at least one word") }
let vocabulary = Array(Set(words)).sorted()
let tokens = Tensor(words.map { Int32(vocabulary.firstIndex(of: $0)!) })  // (T)
let count = words.count

// 2. Embeddings: each word has a row of a table.
let table = Tensor.normal([vocabulary.count, features], key: key, stream: 0)
let x = table.gathered(tokens)  // (T, C)

// 3. Each token asks with a query, is found by its key, and gives its value. Queries and keys that come from one matrix
//    agree where the tokens do.
func matrix(_ stream: UInt32) -> Tensor {
  Tensor.normal([features, features], key: key, stream: stream) / Double(features).squareRoot()
}
let (wq, wv) = (matrix(1), matrix(2))
let wk = wq
let (q, k, v) = (matmul(x, wq), matmul(x, wk), matmul(x, wv))  // (T, C) each

// 4. How well query t fits key s: their inner product, kept at everyday size by 1 / sqrt(C).
let scores = matmul(q, k.mT) / Double(features).squareRoot()  // (T, T)

// 5. Softmax makes of each row shares that add up to 1, and the output is that mixture of the values.
let weights = softmax(scores)  // (T, T)
let mixed = matmul(weights, v)  // (T, C)
print("softmax(Q K^T / sqrt(C)): each row a word, each column what it attends to\n")
show(weights, words)

// 6. A decoder must not look ahead: scores of later tokens become -infinity, their shares 0.
let places = Tensor.iota(count)
let isAllowed = places.expanded(1) .>= places.expanded(0)  // (T, T): key s is no later than query t
let causal = softmax(select(isAllowed, scores, -Double.infinity))
print("\nthe same, causal\n")
show(causal, words)

// 7. Several heads: each attends with its own D features, (T, C) -> (H, T, D), and the results lie side by side.
func inHeads(_ x: Tensor) -> Tensor { x.reshaped(count, heads, features / heads).swappingAxes(0, 1) }
let (qs, ks, vs) = (inHeads(q), inHeads(k), inHeads(v))
let maps = softmax(matmul(qs, ks.mT) / Double(features / heads).squareRoot())  // (H, T, T)
let output = matmul(maps, vs).swappingAxes(0, 1).reshaped(count, features)  // (T, C)
for head in 0..<heads {
  print("\nhead \(head) of \(heads)\n")
  show(maps.at(head, axis: 0), words)
}

// 8. The library says all this in one line, fused and without ever storing a map.
func difference(_ a: Tensor, _ b: Tensor) -> Double { abs(a - b).max().item() }
func batched(_ x: Tensor) -> Tensor { x.expanded(0).expanded(0) }  // (T, C) -> (1, 1, T, C)
let one = attention(batched(q), batched(k), batched(v)).reshaped(count, features)
let masked = attention(batched(q), batched(k), batched(v), isCausal: true).reshaped(count, features)
let (all, recorded) = AttentionMaps.recording {
  multiHeadAttention(q.expanded(0), k.expanded(0), v.expanded(0), heads: heads).at(0, axis: 0)
}
print("\nlargest difference to the library's attention")
print("  one head      \(difference(one, mixed))")
print("  causal        \(difference(masked, matmul(causal, v)))")
print("  \(heads) heads       \(difference(all, output))")
print("  their maps    \(difference(recorded[0].at(0, axis: 0), maps))")
